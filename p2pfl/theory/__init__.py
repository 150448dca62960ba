"""What should happen: closed forms and mean-field laws that tests compare with."""

"""One experiment file: typed, validated once, refused with a sentence that names the key."""

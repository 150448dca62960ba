"""Ready files that bring a broker and nodes to machines: compose, Kubernetes, systemd."""

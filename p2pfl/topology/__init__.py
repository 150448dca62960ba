"""Who talks to whom: graphs, mixing matrices, spectra, files."""

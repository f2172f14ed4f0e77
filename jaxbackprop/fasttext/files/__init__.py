"""fastText's own files and this library's model folders."""

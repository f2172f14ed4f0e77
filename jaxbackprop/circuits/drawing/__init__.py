"""Drawing: a circuit as text, SVG, DOT, JSON or a page; what is shown, where it stands, how it is written."""

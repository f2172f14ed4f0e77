"""From files of labelled lines to rows of the tables."""

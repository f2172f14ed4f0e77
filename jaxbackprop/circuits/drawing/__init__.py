"""Circuits as pictures, tables and pages."""

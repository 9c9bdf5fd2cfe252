"""The version of this program, at the bottom: whoever needs it inside need not import the package's public face."""

__version__ = "0.1.0"

"""sshrender: render one large PDF on all your idle machines, over nothing but ssh."""

__version__ = "0.1.0"

"""What a person types: parse, call, exit code. fabric, pypdf and rich are imported inside commands."""

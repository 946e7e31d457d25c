"""The PDF: facts, page lists, staging on the SAN, splitting. Only here pikepdf and pypdf are used."""

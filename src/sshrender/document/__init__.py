"""The PDF: facts, page lists, staging on the SAN, splitting. Only here are pikepdf and pypdf known."""

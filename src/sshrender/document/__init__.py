"""The PDF: its facts, page lists, staging on the SAN, splitting. pypdf is imported only here."""

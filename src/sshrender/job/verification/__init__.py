"""Is this file a whole picture of this page? Each format is asked for what it can prove."""

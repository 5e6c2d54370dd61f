"""The paper's claims, each with what this study measured beside it, and a verdict."""

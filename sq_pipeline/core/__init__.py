"""Pure: words, rules and arithmetic of the domain. Imports only the standard library, numpy and pydantic."""

"""The vault in other libraries' terms, one module each. Importing this loads none of them."""

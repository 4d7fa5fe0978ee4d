"""Platform connections and the encryption of their credentials."""

"""What an auditor has: rows of a copied journal and its archive, the specs they carry, the slots, and what they prove."""

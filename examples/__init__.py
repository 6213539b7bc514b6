"""Small programs for Millrace; the tests run them."""

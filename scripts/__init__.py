"""What is run by hand or by `make check`, and is no part of the package."""

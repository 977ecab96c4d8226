"""The influence of single rows on a fit: leverages, residuals, and what changes without a row."""

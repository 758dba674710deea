"""Run folder to something a person can look at: one HTML file, figures."""

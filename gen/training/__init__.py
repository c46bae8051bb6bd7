"""The command ``train``: runs, report and charts."""

"""The price list: what a multiply-accumulate costs, in every format, in one open flow."""

"""The pages that dtb writes and serves: every template, the one style sheet, and the function that fills them in."""

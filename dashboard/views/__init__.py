"""One module a page; each has `show`, which draws it. Not named `pages`: Streamlit would run each file there as a page."""

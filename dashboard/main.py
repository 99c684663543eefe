"""The first page: who is logged in."""

import streamlit as st

from dashboard import identity

st.set_page_config(page_title="Tapewatch", layout="wide")
person = identity.require("dashboard")
st.title("Tapewatch")
st.write(f"Logged in as **{person.name}**, {person.role}.")
st.write(f"Permissions: {', '.join(sorted(person.permissions))}")
st.text_input("Note", key="note")
st.html(f'<a href="{identity.ACCOUNT}" target="_self">Account</a>')

"""A script for the dashboard's shell: who is logged in, a widget, and the way to the account."""

import streamlit as st

from dashboard import identity

person = identity.require("dashboard")
st.write(f"Logged in as {person.name}, {person.role}.")
st.write(f"Kept: {st.session_state.get('note', '')}")
st.text_input("Note", key="note")
st.html(f'<a href="{identity.ACCOUNT}" target="_self">Account</a>')

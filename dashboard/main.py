"""The dashboard's script: who may see it, and its pages."""

import streamlit as st

from dashboard import identity
from dashboard.views import alert, alerts, health, labels, mark, models, trading, watch
from dashboard.views.controls import escaped

st.set_page_config(page_title="Tapewatch", layout="wide")
person = identity.require("dashboard")
pages = {
    "watch": st.Page(watch.show, title="Watch", icon=":material/candlestick_chart:", url_path="watch", default=True),
    "alerts": st.Page(alerts.show, title="Alerts", icon=":material/notifications:", url_path="alerts"),
    "alert": st.Page(alert.show, title="One alert", icon=":material/search:", url_path="alert"),
    "health": st.Page(health.show, title="Health", icon=":material/monitor_heart:", url_path="health"),
    "models": st.Page(models.show, title="Models", icon=":material/model_training:", url_path="models"),
    "trading": st.Page(trading.show, title="Trading", icon=":material/account_balance:", url_path="trading"),
}
if person.may("mark"):
    pages["mark"] = st.Page(mark.show, title="Mark", icon=":material/edit:", url_path="mark")
    pages["labels"] = st.Page(labels.show, title="Labels", icon=":material/label:", url_path="labels")
st.session_state["pages"] = pages
st.html("<style>[data-testid='stMainBlockContainer'] { padding: 3rem 2.5rem 4rem; }</style>")
chosen = st.navigation(list(pages.values()))
with st.sidebar:
    st.caption(f"Logged in as {escaped(person.name)}, {escaped(person.role)}")
    st.html(f'<a href="{identity.ACCOUNT}" target="_self">Account</a>')
chosen.run()

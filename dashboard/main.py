"""The dashboard's script: who may see it, and its pages."""

import streamlit as st

from dashboard import identity
from dashboard.views import alert, alerts, health, labels, mark, models, settings, trading, watch
from dashboard.views.controls import escaped

#: Streamlit would fetch the icon of a page from elsewhere.
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%2326a69a' "
    "d='M3 4h1V2h2v2h1v7H6v3H4v-3H3z'/%3E%3Cpath fill='%23ef5350' d='M9 6h1V3h2v3h1v6h-1v2h-2v-2H9z'/%3E%3C/svg%3E"
)
st.set_page_config(page_title="Tapewatch", page_icon=ICON, layout="wide")
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
if person.may("settings"):
    pages["settings"] = st.Page(settings.show, title="Settings", icon=":material/settings:", url_path="settings")
st.session_state["pages"] = pages
st.html("<style>[data-testid='stMainBlockContainer'] { padding: 2.5rem 2.5rem 4rem; }</style>")
chosen = st.navigation(list(pages.values()))
with st.sidebar:
    st.caption(f"Logged in as {escaped(person.name)}, {escaped(person.role)}")
    st.html(f'<a href="{identity.ACCOUNT}" target="_self" style="color: inherit">Account</a>')
# The navigation has set the icon of the chosen page.
st.set_page_config(page_icon=ICON)
chosen.run()

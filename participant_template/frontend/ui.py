"""The page. Streamlit runs this file from top to bottom whenever somebody clicks or types."""

import secrets
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.settings import Settings
from frontend.backend import BackEnd, Trouble
from frontend.conversation import By, Message, listen

settings = Settings()


@st.cache_resource
def back_end() -> BackEnd:
    """Connect to the back end once, for all visitors."""
    return BackEnd()


def main() -> None:
    """Draw the whole page."""
    st.set_page_config(page_title=f"{settings.greeting} from {settings.name}", page_icon="💬")
    if "messages" not in st.session_state:
        st.session_state.browser = secrets.token_hex(16)
        start_conversation()
    with st.sidebar:
        chosen = sidebar()
    st.title(f"{settings.greeting}!")
    st.caption(f"This app belongs to {settings.name}. Streamlit draws the page, FastAPI answers.")
    for message in st.session_state.messages:
        show(message)
    if question := st.chat_input("Ask something"):
        converse(question, chosen)


def start_conversation() -> None:
    """Forget what was said; the back end starts afresh under a new id."""
    st.session_state.conversation = secrets.token_hex(16)
    st.session_state.messages = []


def converse(question: str, documents: list[str]) -> None:
    """Show a question, and its answer word by word."""
    asked, answer = Message(By.VISITOR, question), Message(By.APP)
    # Kept before the answer is there, so that what has arrived stays when the visitor stops it.
    st.session_state.messages += [asked, answer]
    show(asked)
    with st.chat_message(answer.by):
        waiting = st.empty()
        try:
            events = back_end().ask(
                question,
                conversation=st.session_state.conversation,
                browser=st.session_state.browser,
                documents=documents,
            )
            st.write_stream(listen(answer, events, partial(tell, waiting)))
        except Trouble as trouble:
            answer.trouble = str(trouble)
        show_rest(answer)


def tell(place: DeltaGenerator, text: str) -> None:
    """Say something for as long as it is true."""
    if text:
        place.caption(text)
    else:
        place.empty()


def show(message: Message) -> None:
    """Draw a message."""
    with st.chat_message(message.by):
        if message.by == By.VISITOR:
            st.text(message.text)
        else:
            st.markdown(message.text)
            show_rest(message)


def show_rest(answer: Message) -> None:
    """Draw what belongs to an answer besides its words."""
    if answer.toy:
        st.badge("toy model: often wrong", color="orange")
    if answer.sources:
        with st.expander("Sources"):
            for source in answer.sources:
                st.caption(f"[{source['number']}] {source['document']}, {source['section']}")
                st.text(source["text"])
    for notice in answer.notices:
        st.info(notice)
    if answer.trouble:
        st.error(answer.trouble)


def sidebar() -> list[str]:
    """Draw the button for a new conversation and the documents; return those to answer from."""
    st.button("New conversation", on_click=start_conversation, width="stretch")
    chosen: list[str] = []
    try:
        names = back_end().documents()
        if names is not None:  # an app may have no documents
            chosen = st.multiselect("Answer from these documents", names, default=names)
            upload()
    except Trouble as trouble:
        st.error(str(trouble))
    return chosen


def upload() -> None:
    """Offer to add a document, and hand it to the back end."""
    with st.form("upload", clear_on_submit=True):
        file = st.file_uploader("Add a document", type=["txt", "md", "pdf"])
        if st.form_submit_button("Add") and file is not None:
            back_end().upload(file.name, file.getvalue())
            st.rerun()


main()

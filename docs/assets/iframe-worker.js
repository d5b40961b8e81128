// The search runs in a web worker, which browsers do not start for a page that was opened from disk (file://).
// For such pages, Worker is replaced by a hidden frame that runs the same script.
if (location.protocol === "file:") {
  window.Worker = function (url) {
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.srcdoc =
      "<script>postMessage = (data) => frameElement.dispatchEvent(new MessageEvent('message', { data }))</script>" +
      `<script src="${new URL(url, location)}"></script>`;
    const loaded = new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
    frame.postMessage = (data) =>
      loaded.then(() => frame.contentWindow.dispatchEvent(new frame.contentWindow.MessageEvent("message", { data })));
    document.body.appendChild(frame);
    return frame;
  };
}

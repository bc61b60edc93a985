// A conversation over one WebSocket, and what has been seen of it.
//
// The interface is that of browsers, which the package ws of Node offers, too.
// Bytes are {"bytes": "<base64>"}, as in messages of channels.

function decode(message) {
    if (typeof message === "string") {
        return message;
    }
    return Uint8Array.from(atob(message.bytes), (char) => char.charCodeAt(0));
}

function encode(data) {
    if (typeof data === "string") {
        return data;
    }
    const chars = Array.from(new Uint8Array(data), (byte) => String.fromCharCode(byte));
    return { bytes: btoa(chars.join("")) };
}

// Send all messages, take as many and close with [code, reason]. Without `close`
// wait until the server closes.
function converse({ url, subprotocols, messages, close }) {
    return new Promise((resolve) => {
        const seen = { opened: false, received: [] };
        const socket = new WebSocket(url, subprotocols);
        socket.binaryType = "arraybuffer";
        function closeAtEnd() {
            if (close && seen.received.length === messages.length) {
                socket.close(...close);
            }
        }
        socket.onopen = () => {
            seen.opened = true;
            seen.subprotocol = socket.protocol;
            seen.extensions = socket.extensions;
            messages.forEach((message) => socket.send(decode(message)));
            closeAtEnd();
        };
        socket.onmessage = ({ data }) => {
            seen.received.push(encode(data));
            closeAtEnd();
        };
        // Browsers do not tell pages what has been wrong.
        socket.onerror = ({ message }) => {
            seen.error = message || "";
        };
        socket.onclose = ({ code, reason }) => {
            resolve({ ...seen, closed: [code, reason] });
        };
    });
}

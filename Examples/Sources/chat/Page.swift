// The page of the chat, in one piece: it loads nothing else. `/#Ann` joins as Ann at once.

enum Page {
    /// The value of Content-Security-Policy: the page's own script, its style and its socket.
    static let policy: StaticString =
        """
        default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
        img-src data:; connect-src 'self' ws: wss:
        """

    static let html = #"""
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>Millrace chat</title>
        <link rel="icon" href="data:,">
        <style>
        body { font: 16px/1.4 system-ui, sans-serif; margin: 1rem auto; max-width: 60rem;
          padding: 0 1rem; display: grid; grid-template-columns: 1fr 16rem; gap: 1rem; }
        header, form { grid-column: 1 / -1; }
        h1 { font-size: 1.3rem; margin: 0; }
        #log { height: 60vh; overflow-y: auto; border: 1px solid #999; padding: .5rem;
          margin: 0; list-style: none; overflow-wrap: anywhere; }
        #log .note { color: #666; }
        #log b { margin-right: .5rem; }
        table { border-collapse: collapse; font-size: .9rem; width: 100%; }
        th { text-align: left; font-weight: normal; color: #555; }
        td { text-align: right; font-variant-numeric: tabular-nums; }
        form { display: flex; gap: .5rem; }
        input { flex: 1; font: inherit; padding: .3rem; }
        button { font: inherit; }
        @media (max-width: 40rem) { body { display: block; } }
        </style>
        <header>
          <h1>Millrace chat</h1>
          <p>On <strong id="backend">…</strong>. The connection is
            <strong id="state">opening</strong>.</p>
        </header>
        <ul id="log" aria-live="polite"></ul>
        <table><tbody id="counters"></tbody></table>
        <form id="form">
          <input id="text" maxlength="1000" placeholder="your name" autocomplete="off" autofocus>
          <button id="send">Join</button>
        </form>
        <script>
        "use strict";
        const $ = id => document.getElementById(id);
        let name = decodeURIComponent(location.hash.slice(1));
        let isMember = false, socket;

        function show(kind, author, text) {
          const line = document.createElement("li");
          line.className = kind;
          if (author) {
            const b = document.createElement("b");
            b.textContent = author;
            line.append(b);
          }
          line.append(text);
          $("log").append(line);
          while ($("log").children.length > 500) $("log").firstChild.remove();
          $("log").scrollTop = $("log").scrollHeight;
        }

        function count(event) {
          $("backend").textContent = event.backend;
          const rows = Object.entries(event).filter(([, value]) => typeof value === "number");
          $("counters").replaceChildren(...rows.map(([key, value]) => {
            const row = document.createElement("tr");
            const head = document.createElement("th"), cell = document.createElement("td");
            head.textContent = key.replace(/[A-Z]/g, letter => " " + letter.toLowerCase());
            cell.textContent = value.toLocaleString("en");
            cell.id = key;
            row.append(head, cell);
            return row;
          }));
        }

        function label() {
          $("text").placeholder = isMember ? "a message" : "your name";
          $("send").textContent = isMember ? "Send" : "Join";
        }

        function connect() {
          const scheme = location.protocol === "https:" ? "wss://" : "ws://";
          socket = new WebSocket(scheme + location.host + "/ws");
          socket.onopen = () => {
            $("state").textContent = "open";
            if (name) socket.send(name);
          };
          socket.onmessage = ({ data }) => {
            const event = JSON.parse(data);
            if (event.kind === "statistics") return count(event);
            if (event.kind === "message") return show("message", event.name, event.text);
            if (event.kind === "joined" && event.name === name) { isMember = true; label(); }
            show("note", "", event.name + " " + event.kind);
          };
          socket.onclose = ({ code, reason }) => {
            $("state").textContent = "closed, " + code + (reason ? ": " + reason : "");
            isMember = false;
            // A name that was refused would be refused again.
            if (code === 1008) name = "";
            label();
            setTimeout(connect, 2000);
          };
        }

        $("form").onsubmit = event => {
          event.preventDefault();
          const text = $("text").value.trim();
          if (!text || socket.readyState !== WebSocket.OPEN) return;
          if (!isMember) name = text;
          socket.send(text);
          $("text").value = "";
        };
        connect();
        </script>
        </html>
        """#
}

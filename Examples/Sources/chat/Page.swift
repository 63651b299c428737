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
            <strong id="state">not open: enter your name</strong>.</p>
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
        // The name to join with; empty: there is no socket. The server closes one without a name.
        let name = "";
        let isMember = false, socket;
        try {
          name = decodeURIComponent(location.hash.slice(1)).trim();
        } catch {
          // The address has a percent sign that begins no escape.
        }

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
          $("text").placeholder =
            isMember ? "a message" : name ? "joining as " + name : "your name";
          $("send").textContent = isMember || name ? "Send" : "Join";
        }

        function connect() {
          const scheme = location.protocol === "https:" ? "wss://" : "ws://";
          let wasOpen = false;
          $("state").textContent = "opening";
          socket = new WebSocket(scheme + location.host + "/ws");
          socket.onopen = () => {
            wasOpen = true;
            $("state").textContent = "open";
            socket.send(name);
          };
          socket.onmessage = ({ data }) => {
            const event = JSON.parse(data);
            if (event.kind === "statistics") return count(event);
            if (event.kind === "message") return show("message", event.name, event.text);
            if (event.kind === "joined" && event.name === name) { isMember = true; label(); }
            show("note", "", event.name + " " + event.kind);
          };
          socket.onclose = ({ code, reason }) => {
            const state = "closed, " + code + (reason ? ": " + reason : "");
            $("state").textContent = state;
            // The log keeps each close, but neither the attempts after it nor repetitions.
            if (wasOpen && $("log").lastChild?.textContent !== state) show("note", "", state);
            isMember = false;
            // A name that was refused would be refused again.
            if (code === 1008) name = "";
            label();
            // After a restart of the server its visitors must not come back all at once.
            if (name) setTimeout(connect, 1000 + 3000 * Math.random());
          };
        }

        $("form").onsubmit = event => {
          event.preventDefault();
          const text = $("text").value.trim();
          if (!text) return;
          if (isMember && socket.readyState === WebSocket.OPEN) {
            socket.send(text);
          } else if (!name) {
            name = text;
            connect();
            label();
          } else {
            // The server has not answered to the name yet. The text stays in its field.
            return;
          }
          $("text").value = "";
        };
        label();
        if (name) connect();
        </script>
        </html>
        """#
}

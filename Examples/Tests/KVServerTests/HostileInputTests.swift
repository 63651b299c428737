/// Inputs that the parser refuses, sent to the running server, which must report the same errors.
import TestSupport
import Testing

@Suite struct HostileInputTests {
    /// Writes a table to the file that MILLRACE_HOSTILE_TABLE names; `make hostile` prints it.
    @Test(
        "each hostile input gets an error reply, and the connection is closed",
        arguments: Form.all)
    func eachIsToldAndTheConnectionEnds(_ form: Form) throws {
        let server = try ServerProcess(form)
        var table = ""
        for row in ParserRow.hostile {
            let client = try server.connect()
            try client.send(row.input)
            let reply = try client.receiveAll()
            let answered = String(repeating: "+PONG\r\n", count: row.requests.count)
            #expect(reply == "\(answered)-\(row.error ?? "")\r\n", "\(row)")
            client.close()
            let error = reply.dropFirst(answered.count).dropLast(1)
            let shown = row.input.prefix(40).debugDescription
            table += "| `\(shown)` | `\(error)` |\n"
        }
        let other = try server.connect()
        try other.send("PING\r\n")
        #expect(try other.receive(as: "+PONG\r\n") == "+PONG\r\n")
        #expect(try server.stop() == 0)
        if form.isFirst { try addToHostileTable("| to kv-server | gets |\n|---|---|\n\(table)") }
    }
}

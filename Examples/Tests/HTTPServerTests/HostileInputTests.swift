/// Inputs that the codec refuses, sent to the running server, which must answer with the same
/// status.
import TestSupport
import Testing

@Suite struct HostileInputTests {
    /// Writes a table to the file that MILLRACE_HOSTILE_TABLE names; `make hostile` prints it.
    @Test("each hostile input is refused, and no request after it is read", arguments: Form.all)
    func eachIsRefusedAndNothingBehindItIsRead(_ form: Form) throws {
        let server = try ServerUnderTest(form)
        var table = ""
        for row in Requests.hostile {
            let client = try server.client()
            client.send(row.text)
            // Rows without a line end at their end are refused while they are incomplete.
            if row.text.hasSuffix("\r\n") { client.send("GET /json HTTP/1.1\r\nHost: a\r\n\r\n") }
            let response = try client.receiveResponse()
            #expect(row.expected.last == "\(response.status)", "\(row)")
            #expect(response["connection"] == "close", "\(row)")
            #expect(try client.isAtEnd(), "\(row)")
            let shown = row.text.prefix(60).debugDescription.replacing("|", with: "\\|")
            table += "| \(row) | `\(shown)` | \(response.status) |\n"
        }
        let other = try server.client()
        other.send("GET /json HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try other.receiveResponse().status == 200)
        other.close()
        #expect(try server.stop() == 0)
        if form.isFirst {
            try addToHostileTable("| to http-server | begins | gets |\n|---|---|---|\n\(table)")
        }
    }
}

// Random use of the whole library, with an account of every callback, promise, byte, object and
// descriptor. An account that is not even is printed with the seed, and the program exits with 1.
import ArgumentParser
import Glibc
import NetAPI
import TestSupport

@main
struct Stress: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stress",
        abstract: "Uses the whole library at random and checks that nothing is lost.")

    @Option(help: "The seed of the first round; the next ones count up. The default is the time.")
    var seed: UInt64?

    @Option(help: "The seconds during which rounds begin.")
    var seconds = 60

    @Option(help: "The most rounds to run.")
    var rounds = Int.max

    @Option(help: "The backend: epoll or io_uring.")
    var backend = "epoll"

    @Option(help: "Parts to leave out, separated by commas: \(Self.parts).")
    var without = ""

    @Flag(help: "Run only rounds that wait for the calm conversations.")
    var patient = false

    @Flag(help: "Continue after a violation, and print all violations.")
    var keepGoing = false

    private static var parts: String {
        Settings.Part.allCases.map(\.rawValue).joined(separator: ", ")
    }

    /// The seed of the current round, for reports.
    private static let current = Shared<UInt64>(0)
    private static let begun = now()

    func run() throws {
        let first = seed ?? UInt64(now())
        say("stress: seed \(first), \(backend), \(seconds) s")
        let ledger = Ledger()
        let command = "--backend \(backend)\(without.isEmpty ? "" : " --without \(without)")"
        let watch = Watch(limitMilliseconds: 30_000) { hangs in
            Self.tell(ledger.found + hangs, command)
            _exit(1)
        }
        let settings = try settings()
        progress(ledger)
        var (round, failed) = (0, 0)
        while now() - Self.begun < seconds * 1000, round < rounds {
            let seed = first &+ UInt64(round)
            Self.current.update { $0 = seed }
            let told = ledger.found.count
            one(seed, settings, ledger, watch)
            round += 1
            ledger.count("rounds")
            let found = ledger.found.dropFirst(told)
            if !found.isEmpty {
                failed += 1
                Self.tell(Array(found), command)
                if !keepGoing { break }
            }
        }
        rmdir(settings.folder)
        Self.table(ledger)
        say(failed == 0 ? "all accounts are even" : "violations in \(failed) of \(round) rounds")
        if failed > 0 { throw ExitCode(1) }
    }

    private func settings() throws -> Settings {
        let names = without.split(separator: ",").map(String.init)
        let parts = try names.map { name in
            guard let part = Settings.Part(rawValue: name) else {
                throw ValidationError("--without takes \(Self.parts), not \(name)")
            }
            return part
        }
        let backend = try Backend(parsing: backend)
        // From here on, all descriptors that Swift and the library open once for the process are
        // open.
        let warm = Latch()
        Task.detached { warm.set() }
        while !warm.isSet { sleep(milliseconds: 1) }
        try Self.serveNobody(backend)
        _ = Pattern.file
        var template = Array("\(temporaryFolder)/stress-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw ValidationError("no folder can be made in \(temporaryFolder)")
        }
        let name = template.dropLast().map { UInt8(bitPattern: $0) }
        let folder = String(decoding: name, as: UTF8.self)
        return Settings(
            backend: backend, without: Set(parts), folder: folder,
            baseDescriptors: openDescriptors(), onlyPatient: patient)
    }

    /// Starts and stops a server. After the return, the server and its resources are released.
    private static func serveNobody(_ backend: Backend) throws {
        let server = try Server(
            Idle(), listen: "tcp://127.0.0.1:0", options: Options(backend: backend))
        try server.start()
        server.stop()
    }

    private func one(_ seed: UInt64, _ settings: Settings, _ ledger: Ledger, _ watch: Watch) {
        let round = Round(seed, settings, ledger, watch)
        watch.during("round \(seed)") {
            round.run()
            round.release()
        }
        // Threads release their closures shortly after they have reported their end.
        let deadline = now() + 5000
        while now() < deadline, !Self.leftovers(settings).isEmpty { sleep(milliseconds: 2) }
        Self.leftovers(settings).forEach { ledger.violation($0) }
    }

    /// Returns the objects, descriptors and threads that are left of a round.
    private static func leftovers(_ settings: Settings) -> [String] {
        var found: [String] = []
        for (kind, counter) in Alive.counters where counter.current != 0 {
            found.append("\(counter.current) of kind \(kind.rawValue) still live")
        }
        let descriptors = openDescriptors()
        if descriptors != settings.baseDescriptors {
            let more = newestDescriptors(30)
            found.append(
                "\(descriptors) descriptors, and \(settings.baseDescriptors) at first: \(more)")
        }
        let library = threads(named: "millrace")
        if library != 0 { found.append("\(library) threads of the library") }
        return found
    }

    // MARK: Reports

    private func progress(_ ledger: Ledger) {
        _ = ownThread {
            while true {
                sleep(milliseconds: 5000)
                let counts = ledger.counts.update { $0 }
                let line = ["rounds", "talks", "connections", "bytes", "offloads", "datagrams"]
                    .map { "\($0) \(counts[$0, default: 0])" }.joined(separator: ", ")
                say("\((now() - Self.begun) / 1000) s: \(line)")
            }
        }
    }

    private static func tell(_ violations: [String], _ command: String) {
        let seed = current.update { $0 }
        say("VIOLATION, seed \(seed): stress --seed \(seed) --rounds 1 \(command)")
        for line in violations.prefix(12) { say("  \(line)") }
        if violations.count > 12 { say("  and \(violations.count - 12) more") }
    }

    private static func table(_ ledger: Ledger) {
        let counts = ledger.counts.update { $0 }
        for (name, count) in counts.sorted(by: { $0.key < $1.key }) {
            let padding = String(repeating: " ", count: max(1, 28 - name.count))
            say("\(name)\(padding)\(count)")
        }
    }
}

private struct Idle: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action { .none }
}

/// Writes a line without buffering, also into a file.
func say(_ line: String) {
    let line = line + "\n"
    _ = write(STDOUT_FILENO, line, line.utf8.count)
}

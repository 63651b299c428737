internal import Glibc
internal import MillraceEventLoop

/// The errors of connects by name: the step that failed, and each address with its reason.
extension NetError {
    /// The step of a connect.
    @nonexhaustive
    public enum Step: Sendable, Hashable {
        /// Looking up the host's addresses.
        case resolving
        /// Connecting to an address.
        case connecting
        /// The handshake of TLS.
        case securing
    }

    /// The number of addresses that an error lists.
    private static var mostListed: Int { 4 }

    static let tooManyLookups = NetError(
        .overloaded, "too many lookups of names wait already",
        "raise names.threads or names.queued, or connect less at once")

    init(connectingTo address: Address, _ failure: ConnectFailure) {
        switch failure {
        case .unresolved(let error): self.init(resolving: address, error)
        case .noAddress:
            self.init(
                .unresolved, "\(address): the host has no address\(Self.family(of: address))",
                "check the name, and the family in the scheme", step: .resolving)
        case .resolvingLate:
            self.init(
                .timedOut, "\(address): the host was not resolved in time",
                "check the machine's name servers, or allow more time", step: .resolving)
        case .unconnected(let reports, let untried, let isLate):
            self.init(connectingTo: address, reports, untried, isLate: isLate)
        case .unsecured(let host, let error):
            let cause = NetError(connectingTo: address, error)
            self.init(
                cause.code, "\(cause.cause) (at \(host.hostText ?? ""))", cause.remedy,
                errno: cause.errno, step: .securing)
        case .cancelled(let error):
            self.init(
                .system, "\(address): \(error.message) (\(error.name))", errno: error.number)
        }
    }

    /// Makes an error with the words of a resolver.
    init(resolving address: Address, _ error: any Error) {
        if let error = error as? NetError {
            self.init(
                error.code, "\(address): \(error.cause)", error.remedy, errno: error.errno,
                step: .resolving)
            return
        }
        self.init(
            .unresolved, "\(address): the host was not resolved: \(Self.oneLine("\(error)"))",
            "check the name, and the machine's /etc/hosts and name servers",
            errno: (error as? SystemError)?.number, step: .resolving)
    }

    private init(
        connectingTo address: Address, _ reports: [AttemptReport], _ untried: Int, isLate: Bool
    ) {
        var parts = reports.prefix(Self.mostListed).map { report in
            let reason = report.error.map { "\($0.message) (\($0.name))" } ?? "no answer"
            return "\(report.address.hostText ?? "") \(reason)"
        }
        let more = reports.count - parts.count
        if more > 0 { parts.append("\(more) more failed") }
        if untried > 0 { parts.append("\(untried) not tried") }
        let list = parts.joined(separator: ", ")
        if isLate {
            self.init(
                .timedOut, "\(address) did not answer in time: \(list)",
                "check that it is reachable, or allow more time", errno: ETIMEDOUT,
                step: .connecting)
            return
        }
        // Of the addresses that the machine can reach at all, the first one tried.
        let numbers = reports.compactMap { $0.error?.number }
        let routing = [ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT]
        let number = numbers.first { !routing.contains($0) } ?? numbers.first
        self.init(
            number == ETIMEDOUT ? .timedOut : .system,
            "\(address): no address of the host could be connected: \(list)",
            "check that a server listens there, and the routes to it", errno: number,
            step: .connecting)
    }

    private static func family(of address: Address) -> String {
        switch address.hostName?.family {
        case .v4: " of IPv4"
        case .v6: " of IPv6"
        case nil: ""
        }
    }

    /// Cuts a resolver's words, and keeps them on one line.
    private static func oneLine(_ text: String) -> String {
        let line = text.unicodeScalars.prefix(200).map { scalar in
            scalar.value < 0x20 || scalar.value == 0x7F ? " " : Character(scalar)
        }
        return String(line)
    }

    // MARK: Listening

    /// Makes the error for a name of which no address belongs to this machine.
    init(listeningOn address: Address, none addresses: [SocketAddress], _ error: SystemError) {
        let list = addresses.prefix(Self.mostListed).map { $0.hostText ?? "" }
        let more = addresses.count - list.count
        self.init(
            .invalidAddress,
            "\(address): this machine has none of the host's addresses: "
                + list.joined(separator: ", ") + (more > 0 ? " and \(more) more" : ""),
            "listen on an address that this machine has", errno: error.number)
    }
}

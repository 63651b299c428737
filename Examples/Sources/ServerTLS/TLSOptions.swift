// The part of the command line that the servers with TLS share: the certificate, its key, and their
// reload at SIGHUP, also where there is nothing to read again.
public import ArgumentParser
import Glibc
public import NetAPI
import NetTLS
import ServerCommand

/// The certificate for `tls://` addresses; a group for a server's command.
public struct TLSOptions: ParsableArguments {
    @Option(help: "The file of the certificate's chain (PEM), for tls:// addresses.")
    public var tlsCertificate: String?

    @Option(help: "The file of the certificate's private key (PEM).")
    public var tlsKey: String?

    @Option(parsing: .unconditional, help: "The threads that compute handshakes; 0: the loops do.")
    public var tlsHandshakeThreads = 0

    @Flag(help: "Keeps the buffers of idle connections: less processor time, more memory.")
    public var tlsKeepBuffers = false

    public init() {}

    /// Sets the certificate in the options, if one is given, and from now on reads it again at
    /// SIGHUP. Without one SIGHUP ends the process, as it does by default, but not under
    /// a service manager, which reloads by it. Call this before any other thread starts.
    public func apply(to options: Options, protocols: [String] = []) throws -> Options {
        guard tlsCertificate != nil || tlsKey != nil else {
            if try serviceManager.get().awaitsMessages { reloads {} }
            return options
        }
        guard let tlsCertificate, let tlsKey else {
            throw ValidationError("give both --tls-certificate and --tls-key")
        }
        var settings = TLSServer.Settings()
        settings.applicationProtocols = protocols
        settings.withoutCommonProtocol = .goOn
        settings.handshakeThreads = tlsHandshakeThreads
        settings.keepsBuffers = tlsKeepBuffers
        let tls = try TLSServer(.files(chain: tlsCertificate, key: tlsKey), settings: settings)
        reload(tls, chain: tlsCertificate, key: tlsKey)
        return options.with { $0.tls = tls }
    }
}

/// Reads the files again at each SIGHUP. If they are wrong, the old certificate stays.
private func reload(_ tls: TLSServer, chain: String, key: String) {
    reloads {
        do {
            try tls.replace([.files(chain: chain, key: key)])
            say("the certificate was read again")
        } catch {
            say("error: the certificate stays as it was: \(error)", to: STDERR_FILENO)
        }
    }
}

/// Runs `body` at each SIGHUP, between the messages that a service manager awaits.
private func reloads(_ body: @escaping @Sendable () -> Void) {
    onHangUp {
        let manager = try? serviceManager.get()
        _ = try? manager?.notify(.reloading)
        // Also if the new certificate is wrong: the old one serves.
        defer { _ = try? manager?.notify(.ready) }
        body()
    }
}

private final class Reload: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

/// Runs `body` on a thread of its own at each SIGHUP. Other threads block the signal, because they
/// inherit this thread's mask.
private func onHangUp(_ body: @escaping @Sendable () -> Void) {
    var signals = sigset_t()
    sigemptyset(&signals)
    sigaddset(&signals, SIGHUP)
    pthread_sigmask(SIG_BLOCK, &signals, nil)
    var thread = pthread_t()
    let reload = Unmanaged.passRetained(Reload(body)).toOpaque()
    pthread_create(
        &thread, nil,
        { reload in
            guard let reload else { return nil }
            let body = Unmanaged<Reload>.fromOpaque(reload).takeRetainedValue().body
            var signals = sigset_t()
            sigemptyset(&signals)
            sigaddset(&signals, SIGHUP)
            var number: CInt = 0
            while sigwait(&signals, &number) == 0 { body() }
            return nil
        }, reload)
    pthread_detach(thread)
}

// What ktrace needs of this machine, checked one by one. Everything here only looks.
using System.Globalization;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;

namespace KTrace.Boot;

/// <summary>How a check came out.</summary>
public enum HealthLevel
{
    Fine,

    /// <summary>Works without, or worth knowing.</summary>
    Note,

    /// <summary>Some verb does not work until this is there.</summary>
    Missing,
}

/// <summary>One check.</summary>
/// <param name="Remedy">A command, if there is one.</param>
public sealed record HealthCheck(string Name, HealthLevel Level, string Finding, string? Remedy = null);

/// <summary>Looks at the machine.</summary>
public static class Health
{
    private const long ComfortableSpace = 3L << 30;

    /// <summary>All checks, in the order in which a demo needs them.</summary>
    public static async Task<IReadOnlyList<HealthCheck>> CheckAsync(KernelStore store,
        CancellationToken cancellationToken = default)
    {
        var checks = new List<HealthCheck>();
        foreach (var program in Programs.All)
        {
            checks.Add(program.Find() is { } path
                ? new HealthCheck(program.Name, HealthLevel.Fine, path)
                : new HealthCheck(program.Name, HealthLevel.Missing, $"not here: {program.Purpose}",
                    Programs.InstallCommand([program])));
        }

        checks.Add(await CheckQemuAsync(cancellationToken).ConfigureAwait(false));
        checks.Add(CheckKvm());
        checks.Add(CheckCache(store.CacheDirectory));
        checks.Add(await CheckKernelsAsync(store, cancellationToken).ConfigureAwait(false));
        return checks;
    }

    private static async Task<HealthCheck> CheckQemuAsync(CancellationToken cancellationToken)
    {
        const string name = "gdb stub";
        var row = QemuMachine.For("x86-64");
        if (Tool.Find(row.Program) is null)
        {
            return new HealthCheck(name, HealthLevel.Missing, $"cannot be tried without {row.Program}");
        }

        try
        {
            // A machine without anything to boot, stopped: it proves that QEMU starts, that its sockets work and that its stub
            // answers.
            var commandLine = QemuCommandLine.For(new Scenario { Name = "doctor", Memory = 64 }, null, null, ["-boot", "n"]);
            await using var qemu = await QemuProcess.StartAsync(commandLine, TimeSpan.FromSeconds(20), cancellationToken)
                .ConfigureAwait(false);
            var features = await GdbGreeting.AskAsync(qemu.GdbSocket, cancellationToken).ConfigureAwait(false);
            return features is null
                ? new HealthCheck(name, HealthLevel.Missing, $"QEMU {qemu.Version} starts, but its gdb stub does not answer")
                : new HealthCheck(name, HealthLevel.Fine, $"QEMU {qemu.Version}, {features}");
        }
        catch (BootException e)
        {
            return new HealthCheck(name, HealthLevel.Missing, e.Message, e.Remedy);
        }
    }

    private static HealthCheck CheckKvm() => new("/dev/kvm", HealthLevel.Note, KvmAvailability.Check().Words);

    private static HealthCheck CheckCache(string directory)
    {
        const string name = "cache";
        try
        {
            Directory.CreateDirectory(directory);
            var probe = Path.Combine(directory, $".probe-{Environment.ProcessId}");
            File.WriteAllText(probe, "");
            File.Delete(probe);
            var free = new DriveInfo(directory).AvailableFreeSpace;
            var finding = string.Create(CultureInfo.InvariantCulture, $"{directory}, {free / (double)(1 << 30):0.0} GiB free");
            return free < ComfortableSpace
                ? new HealthCheck(name, HealthLevel.Note,
                    $"{finding}: fetching a kernel takes up to {ComfortableSpace >> 30} GiB",
                    "free some space, or set XDG_CACHE_HOME")
                : new HealthCheck(name, HealthLevel.Fine, finding);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return new HealthCheck(name, HealthLevel.Missing, $"{directory}: {e.Message}",
                "set XDG_CACHE_HOME to a folder that can be written");
        }
    }

    private static async Task<HealthCheck> CheckKernelsAsync(KernelStore store, CancellationToken cancellationToken)
    {
        const string name = "kernels";
        var damaged = await store.FindDamageAsync(cancellationToken).ConfigureAwait(false);
        if (damaged.Count > 0)
        {
            return new HealthCheck(name, HealthLevel.Missing, $"{damaged[0]} is not as it was fetched",
                $"rm {damaged[0]} and fetch the kernel again");
        }

        var usable = store.List().Where(kernel => kernel is { Image: not null, Vmlinux: not null })
            .Select(kernel => kernel.Release).ToArray();
        return usable.Length == 0
            ? new HealthCheck(name, HealthLevel.Missing, "none with its debug symbols", "ktrace kernel fetch")
            : new HealthCheck(name, HealthLevel.Fine, string.Join(", ", usable));
    }
}

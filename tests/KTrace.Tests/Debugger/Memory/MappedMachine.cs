using System.Globalization;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Rsp;
using KTrace.Symbols.Arch;

namespace KTrace.Tests.Debugger.Memory;

/// <summary>A QEMU as ktrace starts it, stopped before its first instruction, with its RAM mapped.</summary>
internal sealed class MappedMachine(QemuProcess qemu, Machine machine) : IAsyncDisposable
{
    public QemuProcess Qemu => qemu;

    public Machine Machine => machine;

    public RspClient Client => machine.Client;

    /// <param name="extra">The user's own arguments; the guest boots from nothing.</param>
    public static async Task<MappedMachine> StartAsync(Architecture architecture, Scenario scenario, params string[] extra)
    {
        var line = QemuCommandLine.For(scenario with { Architecture = architecture.Name }, null, null, ["-boot", "n", .. extra]);
        return await StartAsync(architecture, line);
    }

    public static async Task<MappedMachine> StartAsync(Architecture architecture, QemuCommandLine line)
    {
        var qemu = await QemuProcess.StartAsync(line);
        try
        {
            var options = new MachineOptions { RamFile = qemu.RamFile };
            return new MappedMachine(qemu, await Machine.ConnectAsync(RspEndpoint.Parse("unix:" + qemu.GdbSocket), architecture, options));
        }
        catch
        {
            await qemu.DisposeAsync();
            throw;
        }
    }

    /// <summary>What QEMU's monitor says.</summary>
    public async Task<string> MonitorAsync(string command) => (await Client.MonitorAsync(command)).Output;

    /// <summary>The physical address that QEMU's monitor names; null for an address that is not mapped.</summary>
    public async Task<ulong?> TranslateAsync(ulong address)
    {
        const string found = "gpa: 0x";
        var text = (await MonitorAsync(string.Create(CultureInfo.InvariantCulture, $"gva2gpa 0x{address:x}"))).Trim();
        return text.StartsWith(found, StringComparison.Ordinal) ? ulong.Parse(text[found.Length..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
            : text == "Unmapped" ? null : throw new InvalidOperationException(text);
    }

    public async ValueTask DisposeAsync()
    {
        await machine.DisposeAsync();
        await qemu.DisposeAsync();
    }
}

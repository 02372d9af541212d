using System.Collections.Immutable;
using System.Globalization;
using KTrace.Rsp;
using KTrace.Tracing.Interrupts;

namespace KTrace.Debugger.Interrupts;

/// <summary>The interrupt controllers of a machine that stands still, as its monitor shows them.</summary>
/// <param name="LocalApics">One for each CPU; empty where there are none, and where the stub has no monitor of QEMU's.</param>
public sealed record InterruptControllers(ImmutableArray<LocalApic> LocalApics, ImmutableArray<IoApic> IoApics, ImmutableArray<Pic> Pics)
{
    // `info lapic` takes 0.2 ms a CPU.
    private const int MaximumCpus = 1024;
    private const int MaximumGap = 16;

    public static InterruptControllers None { get; } = new([], [], []);

    /// <exception cref="RspException">The stub is broken, or the machine runs.</exception>
    public static async ValueTask<InterruptControllers> ReadAsync(Machine machine, CancellationToken cancellationToken = default)
    {
        var count = Math.Min((await machine.ThreadsAsync(cancellationToken)).Count, MaximumCpus);
        var apics = ImmutableArray.CreateBuilder<LocalApic>();
        // The monitor asks for an APIC id. They are the CPUs' numbers, with gaps where a package has no power of two of cores; an id without a CPU brings no APIC.
        for (var id = 0; apics.Count < count && id < (4 * count) + MaximumGap; id++)
        {
            var text = await AskAsync(machine.Client, string.Create(CultureInfo.InvariantCulture, $"info lapic {id}"), cancellationToken);
            if (text is null)
            {
                break;
            }

            if (ControllerText.ParseLocalApic(text, id) is { } apic)
            {
                apics.Add(apic);
            }
        }

        var (ioApics, pics) = await AskAsync(machine.Client, "info pic", cancellationToken) is { } shown ? ControllerText.ParsePic(shown) : ([], []);
        return new InterruptControllers(apics.ToImmutable(), ioApics, pics);
    }

    private static async ValueTask<string?> AskAsync(RspClient client, string command, CancellationToken cancellationToken)
    {
        try
        {
            return (await client.MonitorAsync(command, cancellationToken)).Output;
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Unsupported or RspErrorKind.ErrorReply)
        {
            return null;
        }
    }
}

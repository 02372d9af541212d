using System.Text.Json;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Debugger;
using KTrace.Debugger.Recording;
using KTrace.Symbols.Kernel;
using KTrace.Tracing;

namespace KTrace.Cli.Sessions;

/// <summary>What a trace says of the boot that it is of: enough to boot it again.</summary>
internal static class BootHeader
{
    /// <exception cref="BootException">The kernel or the initramfs cannot be read.</exception>
    public static async Task<TraceRecord.Header> OfAsync(PreparedBoot prepared, KernelImage image, string qemuVersion, KernelStore store, CancellationToken cancellationToken)
    {
        var boot = new Dictionary<string, object?> { ["scenario"] = Plain(prepared.Scenario.ToJson()) };
        if (prepared.Kernel is { } kernel)
        {
            boot["kernel"] = new Dictionary<string, object?> { ["file"] = Path.GetFileName(kernel.Image), ["sha256"] = await PreparedBoot.HashAsync(kernel.Image, cancellationToken) };
        }

        if (prepared.InitramfsPath is { } initramfs)
        {
            boot["initramfs"] = new Dictionary<string, object?> { ["file"] = Path.GetFileName(initramfs), ["sha256"] = await PreparedBoot.HashAsync(initramfs, cancellationToken) };
        }

        boot["qemu"] = new Dictionary<string, object?>
        {
            ["version"] = qemuVersion,
            ["command"] = prepared.CommandLine.ToShell().Replace(store.CacheDirectory, "$XDG_CACHE_HOME/ktrace", StringComparison.Ordinal),
        };
        return Of(image, boot);
    }

    /// <param name="boot">JSON values, as dictionaries and lists.</param>
    public static TraceRecord.Header Of(KernelImage image, Dictionary<string, object?> boot) => new()
    {
        Tool = ToolVersion.Text,
        Arch = image.Architecture.Name,
        Kernel = new TraceKernel(image.Release, image.BuildId.IsEmpty ? null : Convert.ToHexStringLower(image.BuildId.AsSpan()), image.Banner),
        Boot = TraceBoot.From(boot),
    };

    /// <summary>jiffies_64 starts at INITIAL_JIFFIES, 300 seconds before its lower half wraps: early in boot its value tells HZ.</summary>
    public static async Task<int?> JiffiesPerSecondAsync(KernelTarget target, CancellationToken cancellationToken)
    {
        if (!target.Map.Image.TryFindSymbol("jiffies_64", out var symbol))
        {
            return null;
        }

        var initial = new byte[8];
        if (!target.Map.Image.TryRead(symbol.Value, initial)
            && !await target.Memory.TryReadAsync(target.Map.ToRunTime(symbol.Value), initial, cancellationToken))
        {
            return null;
        }

        return GuestUptime.PerSecond(BitConverter.ToUInt64(initial));
    }

    /// <summary>JSON as the dictionaries that a trace header is made of.</summary>
    private static object? Plain(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().ToDictionary(p => p.Name, p => Plain(p.Value)),
        JsonValueKind.Array => element.EnumerateArray().Select(Plain).ToList(),
        JsonValueKind.String => element.GetString(),
        JsonValueKind.Number => element.TryGetInt64(out var whole) ? whole : element.GetDouble(),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };
}

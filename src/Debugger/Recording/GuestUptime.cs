// jiffies_64 starts at INITIAL_JIFFIES, 300 seconds before its lower half wraps (include/linux/jiffies.h, 6.1): its value in vmlinux tells HZ, and its value in memory how long the
// guest has run by its own clock. Read out of mapped RAM, it can be had while the guest runs, and after QEMU has ended.
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Guest;

namespace KTrace.Debugger.Recording;

/// <summary>How long a guest has run by its own clock, without stopping it.</summary>
public sealed class GuestUptime : IDisposable
{
    private const int Word = 8;

    private readonly SharedPiece _jiffies;
    private readonly ulong _initial;
    private readonly int _perSecond;

    private GuestUptime(SharedPiece jiffies, ulong initial, int perSecond) => (_jiffies, _initial, _perSecond) = (jiffies, initial, perSecond);

    /// <summary>Seconds since the kernel began to count, in steps of a jiffy.</summary>
    public double Seconds => (double)(long)(_jiffies.LoadUInt64(0) - _initial) / _perSecond;

    /// <summary>CONFIG_HZ as vmlinux tells it, and what jiffies_64 begins with; null when it does not.</summary>
    public static (int PerSecond, ulong Initial)? RateOf(Symbols.Kernel.KernelImage image)
    {
        var initial = new byte[Word];
        if (!image.TryFindSymbol("jiffies_64", out var symbol) || !image.TryRead(symbol.Value, initial))
        {
            return null;
        }

        var begin = BitConverter.ToUInt64(initial);
        return PerSecond(begin) is { } rate ? (rate, begin) : null;
    }

    /// <summary>CONFIG_HZ from what jiffies_64 begins with; null when that is not its beginning.</summary>
    public static int? PerSecond(ulong initial)
    {
        var before = (1L << 32) - (long)initial;
        return before > 0 && before % 300 == 0 && before / 300 is >= 24 and <= 10000 ? (int)(before / 300) : null;
    }

    /// <summary>Finds the clock in a stopped guest; null where RAM is not shared, or the kernel does not tell.</summary>
    public static async ValueTask<GuestUptime?> TryFindAsync(KernelTarget target, CancellationToken cancellationToken) =>
        RateOf(target.Map.Image) is { } rate && await GuestTables.TranslateAsync(target, "jiffies_64", cancellationToken) is { } physical
            && target.Memory.Ram?.TryShare(physical, Word) is { } piece
            ? new GuestUptime(piece, rate.Initial, rate.PerSecond)
            : null;

    public void Dispose() => _jiffies.Dispose();
}

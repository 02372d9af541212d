// GDB Remote Serial Protocol, "Stop Reply Packets". QEMU names a reason only for watchpoints (`T05thread:p01.01;watch:…;`), and sends no
// registers; gdbserver and vgdb send frame pointer, stack pointer and pc; gdbserver also the core and swbreak/hwbreak. Keys that are not
// known must be skipped, says the specification; a key of hexadecimal digits alone is a register's number.
using System.Collections.Immutable;
using System.Text;

namespace KTrace.Rsp;

public enum WatchKind
{
    Write,
    Read,
    Access,
}

/// <summary>Why a target stopped, as far as the stub says it.</summary>
public abstract record StopReason
{
    private StopReason()
    {
    }

    /// <summary>Nothing was said beyond the signal. QEMU says no more for breakpoints and steps (signal 5) and interrupts (signal 2).</summary>
    public sealed record Signal : StopReason
    {
        public static Signal Only { get; } = new();
    }

    public sealed record Breakpoint(bool Hardware) : StopReason;

    /// <param name="Address">The data address that was touched.</param>
    public sealed record Watchpoint(WatchKind Kind, ulong Address) : StopReason;

    /// <summary>A reverse execution reached an end of what was recorded: `begin` or `end`.</summary>
    public sealed record ReplayLog(string Edge) : StopReason;

    /// <summary>Another event that the specification names: library, fork, vfork, exec, syscall_entry, create, no-resumed …</summary>
    public sealed record Event(string Name, string Value) : StopReason;
}

/// <summary>A register that came with a stop reply, so that it need not be asked for.</summary>
/// <param name="Number">As in <see cref="RegisterDescription.Number"/>.</param>
/// <param name="Hex">Two digits a byte, in target order; `xx` for a byte that is not available.</param>
public readonly record struct StopRegister(int Number, string Hex);

/// <summary>What ended a run of the target.</summary>
public abstract record StopReply
{
    private StopReply()
    {
    }

    /// <param name="Signal">gdb's number: 5 for breakpoints and steps, 2 for interrupts, 0 for none.</param>
    /// <param name="Thread">The thread (for QEMU the CPU) that stopped, where the stub names it.</param>
    public sealed record Stopped(int Signal, ThreadId? Thread, StopReason Reason) : StopReply
    {
        /// <summary>The stub never reported this stop: after an interrupt it was silent, but answers requests again.</summary>
        public bool Inferred { get; init; }

        /// <summary>The processor that the thread ran on, where the stub names it.</summary>
        public int? Core { get; init; }

        /// <summary>The registers that the stub sent along; default (not empty) when there were none, as with QEMU.</summary>
        public ImmutableArray<StopRegister> Registers { get; init; }
    }

    /// <summary>The program ended; for QEMU, the machine was powered off.</summary>
    public sealed record Exited(int Code) : StopReply
    {
        /// <summary>Which one, with a stub of several processes.</summary>
        public long? Process { get; init; }
    }

    /// <summary>The program was ended by a signal.</summary>
    public sealed record Terminated(int Signal) : StopReply
    {
        /// <summary>Which one, with a stub of several processes.</summary>
        public long? Process { get; init; }
    }

    /// <exception cref="RspException">Protocol: this is no stop reply.</exception>
    public static StopReply Parse(ReadOnlySpan<byte> payload) => TryParse(payload)
        ?? throw new RspException(RspErrorKind.Protocol, $"not a stop reply: {PacketText.Brief(payload)}");

    /// <summary>Null when the payload is no stop reply.</summary>
    internal static StopReply? TryParse(ReadOnlySpan<byte> payload)
    {
        if (payload.Length >= 2 && (payload[0] is (byte)'W' or (byte)'X'))
        {
            return ParseEnd(payload);
        }

        if (payload.SequenceEqual("N"u8))
        {
            return new Stopped(0, null, new StopReason.Event("no-resumed", ""));
        }

        if (payload.Length < 3 || HexText.ParseByte(payload.Slice(1, 2)) is not (>= 0 and var signal))
        {
            return null;
        }

        return payload[0] switch
        {
            (byte)'S' when payload.Length == 3 => new Stopped(signal, null, StopReason.Signal.Only),
            (byte)'T' => ParsePairs(signal, payload[3..]),
            _ => null,
        };
    }

    /// <summary>Two digits, says the specification; gdbserver 13.1 writes `W0;process:…`, and exit codes may need up to eight.</summary>
    private static StopReply? ParseEnd(ReadOnlySpan<byte> payload)
    {
        var end = payload.IndexOf((byte)';');
        var digits = end < 0 ? payload[1..] : payload[1..end];
        ulong process = 0;
        if (digits.Length > 8 || !HexText.TryParse(digits, out var number)
            || (end >= 0 && !(payload[end..].StartsWith(";process:"u8) && HexText.TryParse(payload[(end + 9)..], out process) && process <= long.MaxValue)))
        {
            return null;
        }

        long? which = end < 0 ? null : (long)process;
        return payload[0] == 'W' ? new Exited((int)number) { Process = which } : new Terminated((int)number) { Process = which };
    }

    private static Stopped? ParsePairs(int signal, ReadOnlySpan<byte> pairs)
    {
        ThreadId? thread = null;
        StopReason reason = StopReason.Signal.Only;
        int? core = null;
        ImmutableArray<StopRegister>.Builder? registers = null;
        while (!pairs.IsEmpty)
        {
            var end = pairs.IndexOf((byte)';');
            var pair = end < 0 ? pairs : pairs[..end];
            pairs = end < 0 ? [] : pairs[(end + 1)..];
            var colon = pair.IndexOf((byte)':');
            if (colon <= 0)
            {
                return null;
            }

            var value = pair[(colon + 1)..];
            if (pair[..colon].SequenceEqual("thread"u8))
            {
                if (!ThreadId.TryParse(value, out var id))
                {
                    return null;
                }

                thread = id;
            }
            else if (pair[..colon].SequenceEqual("core"u8))
            {
                if (!HexText.TryParse(value, out var number) || number > int.MaxValue)
                {
                    return null;
                }

                core = (int)number;
            }
            else if (colon <= 4 && HexText.TryParse(pair[..colon], out var register))
            {
                if (value.Length % 2 != 0 || value.ContainsAnyExcept("0123456789abcdefABCDEFx"u8))
                {
                    return null;
                }

                (registers ??= ImmutableArray.CreateBuilder<StopRegister>()).Add(new StopRegister((int)register, Encoding.ASCII.GetString(value)));
            }
            else if (!TryReadReason(pair[..colon], value, ref reason))
            {
                return null;
            }
        }

        return new Stopped(signal, thread, reason) { Core = core, Registers = registers?.ToImmutable() ?? default };
    }

    /// <summary>False when the value of a known key is malformed; unknown keys leave the reason as it is.</summary>
    private static bool TryReadReason(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, ref StopReason reason)
    {
        WatchKind? watch = key switch
        {
            _ when key.SequenceEqual("watch"u8) => WatchKind.Write,
            _ when key.SequenceEqual("rwatch"u8) => WatchKind.Read,
            _ when key.SequenceEqual("awatch"u8) => WatchKind.Access,
            _ => null,
        };
        if (watch is { } kind)
        {
            var parsed = HexText.TryParse(value, out var address);
            reason = new StopReason.Watchpoint(kind, address);
            return parsed;
        }

        if (key.SequenceEqual("swbreak"u8) || key.SequenceEqual("hwbreak"u8))
        {
            reason = new StopReason.Breakpoint(Hardware: key[0] == 'h');
        }
        else if (key.SequenceEqual("replaylog"u8))
        {
            reason = new StopReason.ReplayLog(PacketText.Escape(value));
        }
        else if (IsEvent(key))
        {
            reason = new StopReason.Event(Encoding.ASCII.GetString(key), PacketText.Escape(value));
        }

        return true;
    }

    private static bool IsEvent(ReadOnlySpan<byte> key) =>
        key.SequenceEqual("library"u8) || key.SequenceEqual("fork"u8) || key.SequenceEqual("vfork"u8) || key.SequenceEqual("vforkdone"u8)
        || key.SequenceEqual("exec"u8) || key.SequenceEqual("clone"u8) || key.SequenceEqual("create"u8)
        || key.SequenceEqual("syscall_entry"u8) || key.SequenceEqual("syscall_return"u8);
}

using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>Decodes the objects inside a hit (and the clock of a console record). The cursor stands on the property's name.</summary>
internal static class HitParts
{
    // No architecture that Linux runs on has more; bounds what a hostile line can make of itself.
    private const int MaxRegisters = 1024;
    private const int MaxArguments = 16;

    /// <summary>The word for a context that could not be read.</summary>
    public const string UnknownContext = "unknown";

    /// <param name="last">The task of the hit before: mostly the same, so its record and its string are used again.</param>
    public static TraceTask? Task(ref RecordJson json, TraceTask? last)
    {
        json.StartObject("task");
        int? pid = null, tgid = null;
        string? comm = null;
        bool kernel = false;
        while (json.NextProperty())
        {
            if (json.Is("pid"u8))
            {
                pid = json.Int32("pid");
            }
            else if (json.Is("comm"u8))
            {
                comm = json.String("comm", last?.Comm);
            }
            else if (json.Is("tgid"u8))
            {
                tgid = json.Int32("tgid");
            }
            else if (json.Is("kernel"u8))
            {
                kernel = json.Boolean("kernel");
            }
            else
            {
                json.Skip();
            }
        }

        int taskPid = pid ?? throw json.Fail("a task without pid");
        string taskComm = comm ?? throw json.Fail("a task without comm");
        return last is not null && last.Pid == taskPid && ReferenceEquals(last.Comm, taskComm) && last.ThreadGroup == (tgid ?? taskPid) && last.IsKernelThread == kernel
            ? last
            : new TraceTask(taskPid, taskComm) { ThreadGroup = tgid ?? taskPid, IsKernelThread = kernel };
    }

    /// <summary>Null when the hit says that it does not know.</summary>
    public static TraceContext? Context(ref RecordJson json)
    {
        json.StartObject("context");
        bool irqsOff = false, needsReschedule = false, known = true;
        ulong count = 0;
        while (json.NextProperty())
        {
            if (json.Is("in"u8))
            {
                known = json.String("in") != UnknownContext;
            }
            else if (json.Is("irqs_off"u8))
            {
                irqsOff = json.Boolean("irqs_off");
            }
            else if (json.Is("preempt_count"u8))
            {
                count = json.Hex("preempt_count");
            }
            else if (json.Is("need_resched"u8))
            {
                needsReschedule = json.Boolean("need_resched");
            }
            else
            {
                json.Skip();
            }
        }

        if (count > int.MaxValue)
        {
            throw json.Fail("a preempt_count has 31 bits");
        }

        return known ? new TraceContext(PreemptCount.Of((uint)count, needsReschedule), irqsOff) : null;
    }

    public static TraceClock Clock(ref RecordJson json)
    {
        json.StartObject("clock");
        ulong? jiffies = null, ns = null, instructions = null, ticks = null;
        while (json.NextProperty())
        {
            if (json.Is("jiffies"u8))
            {
                jiffies = json.UInt64("jiffies");
            }
            else if (json.Is("ns"u8))
            {
                ns = json.UInt64("ns");
            }
            else if (json.Is("instructions"u8))
            {
                instructions = json.UInt64("instructions");
            }
            else if (json.Is("ticks"u8))
            {
                ticks = json.UInt64("ticks");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceClock(jiffies, ns, instructions, ticks);
    }

    /// <param name="last">The registers of the hit before, whose names are used again.</param>
    public static ImmutableArray<TraceRegister> Registers(ref RecordJson json, ImmutableArray<TraceRegister> last)
    {
        json.StartObject("registers");
        ImmutableArray<TraceRegister>.Builder registers = ImmutableArray.CreateBuilder<TraceRegister>(last.Length);
        while (json.NextProperty())
        {
            if (registers.Count == MaxRegisters)
            {
                throw json.Fail($"more than {MaxRegisters} registers");
            }

            string name = json.Name(registers.Count < last.Length ? last[registers.Count].Name : null);
            registers.Add(new TraceRegister(name, json.Hex("a register")));
        }

        return registers.DrainToImmutable();
    }

    /// <summary>The rest of an array of hexadecimal strings whose start was read.</summary>
    public static ImmutableArray<ulong> HexValues(ref RecordJson json, string what, int limit)
    {
        ImmutableArray<ulong>.Builder values = ImmutableArray.CreateBuilder<ulong>();
        while (json.NextElement())
        {
            if (values.Count == limit)
            {
                throw json.Fail($"more than {limit} values");
            }

            values.Add(json.ElementHex(what));
        }

        return values.DrainToImmutable();
    }

    public static TraceEnd End(ref RecordJson json)
    {
        json.StartObject("end");
        string? reason = null, detail = null;
        ulong? pc = null, sp = null, address = null;
        TraceSyscall? syscall = null;
        while (json.NextProperty())
        {
            if (json.Is("reason"u8))
            {
                reason = json.String("reason", TraceEndReason.All);
            }
            else if (json.Is("pc"u8))
            {
                pc = json.Hex("pc");
            }
            else if (json.Is("sp"u8))
            {
                sp = json.Hex("sp");
            }
            else if (json.Is("address"u8))
            {
                address = json.Hex("address");
            }
            else if (json.Is("detail"u8))
            {
                detail = json.OptionalString("detail");
            }
            else if (json.Is("syscall"u8))
            {
                syscall = Syscall(ref json);
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceEnd(reason ?? throw json.Fail("an end of a path without reason"), pc, sp, syscall, address, detail);
    }

    private static TraceSyscall Syscall(ref RecordJson json)
    {
        json.StartObject("syscall");
        string? name = null;
        long? number = null;
        ImmutableArray<ulong> arguments = [];
        ImmutableArray<string?>.Builder texts = ImmutableArray.CreateBuilder<string?>();
        while (json.NextProperty())
        {
            if (json.Is("name"u8))
            {
                name = json.OptionalString("name");
            }
            else if (json.Is("number"u8))
            {
                number = json.Int64("number");
            }
            else if (json.Is("args"u8))
            {
                json.StartArray("args");
                arguments = HexValues(ref json, "an argument", MaxArguments);
            }
            else if (json.Is("texts"u8))
            {
                json.StartArray("texts");
                while (json.NextElement())
                {
                    if (texts.Count == MaxArguments)
                    {
                        throw json.Fail($"more than {MaxArguments} texts");
                    }

                    texts.Add(json.ElementString("a text"));
                }
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceSyscall(name, number ?? throw json.Fail("a system call without number"), arguments, texts.DrainToImmutable());
    }
}

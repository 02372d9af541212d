// The lines of hits without stops, which come by the hundred thousand: digits into a buffer, and nothing is allocated. docs/trace-format.md, "Compact hits".
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace KTrace.Tracing;

/// <summary>Formats compact hits and returns.</summary>
internal static class CompactLines
{
    /// <param name="values">Ids of the frames' arguments; empty when they are not recorded.</param>
    /// <param name="isSameTask">The compact hit before it was of the same task's id.</param>
    public static void Write(LineBuffer line, in CompactHit hit, ReadOnlySpan<int> values, bool isSameTask)
    {
        line.Add("{\"type\":\"hit\",\"seq\":"u8);
        line.Add((ulong)hit.Sequence);
        Cpu(line, hit.Cpu);
        if (!isSameTask)
        {
            line.Add(",\"task\":"u8);
            line.Add((ulong)hit.Task);
        }

        line.Add(",\"t\":"u8);
        line.Add(hit.Ticks);
        line.Add(",\"at\":"u8);
        line.Add((ulong)hit.Stack);
        if (values.Length > 0)
        {
            line.Add(",\"values\":["u8);
            for (var i = 0; i < values.Length; i++)
            {
                if (i > 0)
                {
                    line.Add(","u8);
                }

                line.Add((ulong)values[i]);
            }

            line.Add("]"u8);
        }
        else if (hit.Arguments.Length > 0)
        {
            line.Add(",\"args\":["u8);
            line.Add(hit.Arguments);
            line.Add("]"u8);
        }

        if (!hit.Registers.IsDefaultOrEmpty)
        {
            Registers(line, hit.Registers);
        }

        line.Add("}\n"u8);
    }

    public static void Write(LineBuffer line, in CompactReturn returned)
    {
        line.Add("{\"type\":\"return\",\"hit\":"u8);
        line.Add((ulong)returned.Hit);
        Cpu(line, returned.Cpu);
        line.Add(",\"t\":"u8);
        line.Add(returned.Ticks);
        if (returned.Duration is { } duration)
        {
            line.Add(",\"duration\":"u8);
            line.Add(duration);
        }

        if (returned.Depth is > 0 and var depth)
        {
            line.Add(",\"depth\":"u8);
            line.Add((ulong)depth);
        }

        if (returned.Result > 0)
        {
            line.Add(",\"result\":"u8);
            line.Add((ulong)returned.Result);
            line.Add(",\"ret\":"u8);
            line.Add(returned.Value);
        }

        line.Add("}\n"u8);
    }

    /// <summary>Few hits have them: those that a person reads.</summary>
    private static void Registers(LineBuffer line, ImmutableArray<TraceRegister> registers)
    {
        var separator = ",\"registers\":{";
        foreach (var register in registers)
        {
            line.Add(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{separator}\"{JsonEncodedText.Encode(register.Name)}\":\"0x{register.Value:x}\"")));
            separator = ",";
        }

        line.Add("}"u8);
    }

    private static void Cpu(LineBuffer line, int cpu)
    {
        if (cpu != 0)
        {
            line.Add(",\"cpu\":"u8);
            line.Add((ulong)cpu);
        }
    }
}

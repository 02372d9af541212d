using System.Globalization;

namespace KTrace.Tests.Debugger.NonStop.Conditions;

/// <summary>Expressions without end over the registers of vfs_read and the memory that r8 points to.</summary>
internal sealed class RandomConditions(int seed)
{
    private static readonly string[] Literals =
        ["0", "1", "2", "7", "63", "(-1)", "(-5)", "255", "0x8000", "0x7fffffff", "0x80000000", "0xffffffff", "2147483648", "0x100000000", "5u", "3l", "9ul", "0xffffffffffffffff", "'a'", "'\\xff'"];

    private static readonly string[] Types = ["char", "unsigned char", "signed char", "short", "unsigned short", "int", "unsigned int", "long", "unsigned long", "bool"];
    private static readonly string[] Names = ["count", "(unsigned long)file", "(unsigned long)pos", "$rcx", "$edx", "$r9", "$esi", "$r15", "$cpu", "current->pid", "file", "pos", "current->in_iowait", "init_task.prio"];
    private static readonly string[] Members = ["syn", "ack", "doff", "res1", "window", "seq"];
    private static readonly string[] Operators = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", "<=", ">", ">=", "==", "!=", "&&", "||"];
    private readonly Random _random = new(seed);

    public string Next() => Number(4);

    private string Number(int depth) => depth == 0 ? Leaf(0) : _random.Next(12) switch
    {
        0 or 1 => Leaf(depth),
        2 => $"{Pick(["-", "~", "!", "+"])}({Number(depth - 1)})",
        3 => $"({Pick(Types)})({Number(depth - 1)})",
        4 => $"({Number(depth - 1)} ? {Number(depth - 1)} : {Number(depth - 1)})",
        5 => $"({Number(depth - 1)}) {Pick(["<<", ">>"])} ({Number(depth - 1)} & 31)",
        _ => $"({Number(depth - 1)}) {Pick(Operators)} ({Number(depth - 1)})",
    };

    private string Leaf(int depth) => _random.Next(10) switch
    {
        0 or 1 or 2 => Pick(Literals),
        3 or 4 or 5 => Pick(Names),
        6 => $"({Pick(Types)})count",
        7 => string.Create(CultureInfo.InvariantCulture, $"*({Pick(Types)} *)($r8 + {Offset()})"),
        8 when depth > 0 => $"(({Pick(Types)} *)$r8)[({Number(depth - 1)}) & 1023]",
        8 => string.Create(CultureInfo.InvariantCulture, $"((struct tcphdr *)($r8 + {Offset()}))->{Pick(Members)}"),
        _ when depth > 0 && _random.Next(4) == 0 => $"*({Pick(Types)} *)({Number(depth - 1)})",
        _ => Pick(Names),
    };

    /// <summary>Often near a page's end.</summary>
    private int Offset() => _random.Next(2) == 0 ? _random.Next(8192) : 4096 - _random.Next(20);

    private string Pick(string[] from) => from[_random.Next(from.Length)];
}

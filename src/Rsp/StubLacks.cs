namespace KTrace.Rsp;

/// <summary>What a stub cannot do, in words for people: so that a person need not find out by a refusal.</summary>
internal static class StubLacks
{
    /// <summary>What is known from the handshake.</summary>
    public static IEnumerable<string> Of(StubFeatures features, StubProfile profile, bool describesRegisters)
    {
        if (!describesRegisters)
        {
            yield return "no description of its registers (qXfer:features:read): registers cannot be read by name";
        }

        if (!features.VCont)
        {
            yield return "no vCont: a single thread cannot be stepped while the others stand still";
        }

        if (profile.DeafWhileRunning)
        {
            yield return "no interrupt: it does not listen while the target runs, so a running target stops at breakpoints, signals and its end only";
        }

        if (profile.NoWatchpoints)
        {
            yield return "no watchpoints (Z2, Z3, Z4)";
        }

        if (profile.StopsCarryNoReason)
        {
            yield return "no reason with its stops, except for watchpoints: a breakpoint is told by the program counter";
        }

        if (!profile.Monitor)
        {
            yield return "no monitor commands (qRcmd)";
        }

        if (!profile.PhysicalMemoryMode)
        {
            yield return "no physical memory (Qqemu.PhyMemMode)";
        }

        if (!features.ReverseStep || !features.ReverseContinue)
        {
            yield return "no reverse execution (ReverseStep, ReverseContinue)";
        }

        if (!features.MemoryMap)
        {
            yield return "no memory map (qXfer:memory-map:read)";
        }
    }
}

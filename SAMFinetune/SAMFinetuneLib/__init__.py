"""The parts of the SAMFinetune module: panels, prompt tools, shortcuts, job monitor, dependency installer."""
